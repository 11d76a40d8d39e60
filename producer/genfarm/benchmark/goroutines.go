// The limit of `genfarm bench concurrency`: so many goroutines that sleep so long.
// Prints the seconds from the first that is started to the last that has ended.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

func main() {
	total, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	seconds, err := strconv.ParseFloat(os.Args[2], 64)
	if err != nil {
		panic(err)
	}
	var all sync.WaitGroup
	began := time.Now()
	for i := 0; i < total; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			time.Sleep(time.Duration(seconds * float64(time.Second)))
		}()
	}
	all.Wait()
	fmt.Println(time.Since(began).Seconds())
}
