"""The words of the little stories: who can act, and what a free slot can hold.

It knows no sentence and no plot. A phrase fits any sentence that has its slot.
"""


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


#: First names, with the pronouns that go with them.
GIRLS = _phrases(
    "Anna|Rosa|Mira|Lily|Clara|Nora|Ida|Ella|Greta|Hanna|Vera|Lena|Marta|Tilda|Juno|Flora|Alma|"
    "Wilma"
)
BOYS = _phrases(
    "Tom|Max|Oscar|Emil|Jonas|Felix|Hugo|Otto|Bruno|Leo|Karl|Anton|Milo|Theo|Rufus|Simon|Walter|"
    "Paul"
)

ROLES = _phrases(
    "captain|baker|farmer|gardener|sailor|painter|tailor|teacher|fisher|miller|doctor|carpenter|"
    "shepherd|potter|weaver|postman|clockmaker|cook"
)
TEMPERS = _phrases("old|young|kind|quiet|clever|cheerful|patient|brave|shy|tall|honest|gentle")

#: Those who help; each gets a name of its own.
ANIMALS = _phrases(
    "fox|owl|rabbit|hedgehog|goat|cat|dog|crow|otter|badger|mouse|donkey|goose|squirrel"
)
LOOKS = _phrases("small|grey|brown|white|little|round|thin|old|young|tiny")
PETS = _phrases(
    "Pip|Dot|Biscuit|Pepper|Button|Moss|Clover|Acorn|Pebble|Bramble|Hazel|Ginger|Nutmeg|Whisper"
)

TOWNS = _phrases(
    "Millbrook|Greenhill|Stonebridge|Ashford|Oakley|Saltbay|Redcliff|Willowdale|Foxton|Elmstead|"
    "Harrow|Brightwater|Northwick|Appleby|Kingsford|Thornbury"
)

#: What is lost, found, made or given.
THINGS = _phrases(
    "silver lamp|red kite|wooden flute|brass key|blue lantern|little clock|golden ring|old map|"
    "straw hat|glass bell|leather book|copper kettle|painted drum|green umbrella|paper boat|"
    "woollen scarf|tin whistle|music box"
)

#: Where a story can lead; each has its article.
PLACES = _phrases(
    "the old mill|the stone bridge|the harbour|the dark wood|the lighthouse|the market|"
    "the top of the hill|the empty barn|the river bank|the apple orchard|the church tower|"
    "the village well|the school house|the frozen lake|the railway station|the castle garden"
)

#: What a free slot of a sentence can hold, by the slot's name.
SLOTS = {
    "weather": _phrases("rainy|sunny|windy|foggy|cold|warm|snowy|quiet|grey|bright|stormy|misty"),
    "part": _phrases("morning|afternoon|evening|night|day"),
    "season": _phrases("spring|summer|autumn|winter"),
    "home": _phrases(
        "a small house by the river|a cottage with a red door|a room above the bakery|"
        "a hut at the edge of the wood|a tall house on the square|a boat with a blue sail|"
        "a farm behind the hill|a little house full of books|a cabin near the beach|"
        "a white house under two oak trees"
    ),
    "habit": _phrases(
        "mended clocks for the whole street|kept seven brown hens|sang to the boats at night|"
        "told the best jokes in the valley|baked bread for the neighbours|never hurried anywhere|"
        "collected shells and feathers|wrote a letter every Sunday|loved the smell of rain|"
        "talked to the birds at breakfast|could not say no to a friend|"
        "knew the name of every star|carried apples in both pockets|drank tea on the roof"
    ),
    "manner": _phrases(
        "slowly|quietly|carefully|at once|without a word|with great care|gently|in a hurry|"
        "with shaking hands|happily|calmly|on tiptoe"
    ),
    "voice": _phrases(
        "softly|with a smile|kindly|in a low voice|at last|after a while|in a clear voice|shyly|"
        "cheerfully|slowly|in a friendly way|with a nod"
    ),
    "while": _phrases(
        "for an hour|for a long time|until the sun went down|until supper|all afternoon|"
        "all night|for three days|until the stars came out|from dawn to dusk|for a whole week"
    ),
    "when": _phrases(
        "after breakfast|before sunrise|at noon|that evening|the next morning|on the third day|"
        "a little later|late at night|two days later|as soon as it was light|"
        "before anyone else was up"
    ),
    "glad": _phrases(
        "happy|proud|hopeful|calm|thankful|cheerful|full of joy|warm inside|brave|merry"
    ),
    "gloomy": _phrases("sad|tired|worried|lonely|hungry|afraid|cold|restless|curious|puzzled"),
    "sky": _phrases(
        "the rain fell on the roofs|the wind shook the windows|the snow lay deep on the road|"
        "the sun shone on the wet stones|the moon hung over the fields|the fog hid the houses|"
        "the church lay in the mist|the leaves danced in the street|"
        "a cold wind came from the sea|the first stars were out|the swallows flew low|"
        "the clouds raced over the hill"
    ),
    "spot": _phrases(
        "under the bed|behind the stove|in the garden|on the roof|under the stairs|"
        "behind the curtain|in every drawer|between the flowers|beside the gate|in the cellar|"
        "under the old bench|near the pond"
    ),
    "food": _phrases(
        "warm soup|fresh bread|apple pie|honey cake|tea and toast|a bowl of porridge|"
        "roasted nuts|bread and cheese|a basket of pears|pancakes with jam|plum cake|"
        "baked potatoes"
    ),
    "sight": _phrases(
        "a row of tiny footprints|a thin line of smoke|a light in the window|an open door|"
        "a trail of feathers|a strange shadow|a rope hanging from a tree|a broken fence|"
        "a half-open box|a heap of dry leaves|a letter without a name|a lamp in the grass"
    ),
    "likeness": _phrases(
        "as bright as the moon|as light as a feather|as old as the hills|as good as new|"
        "as fine as silk|as precious as gold|as smooth as an egg|as pretty as a rose|"
        "as neat as a pin|as strong as an ox"
    ),
    "tool": _phrases(
        "a hammer|a ladder|a long rope|a pot of glue|a bag of nails|an old blanket|a lantern|"
        "a sharp pencil|a bucket of paint|a needle and thread|a wheelbarrow|a piece of chalk"
    ),
    "people": _phrases(
        "the neighbours|the children|the fishermen|all the old men|the girls from the inn|"
        "all the market women|the twins from the mill|the people on the square|both sisters|"
        "the boys from the school"
    ),
    "lesson": _phrases(
        "a friend is worth more than gold|small steps lead up tall hills|kind words cost nothing|"
        "it is good to ask for help|a shared meal tastes better|even the longest night ends|"
        "nothing is lost while someone looks for it|two heads are better than one|"
        "brave hearts can be quiet|patience mends most things|a promise is a promise|"
        "listening is half the work"
    ),
}
