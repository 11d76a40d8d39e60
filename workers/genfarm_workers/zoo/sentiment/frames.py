"""The sentences of the reviews: clauses with one opinion, and what joins two of them.

In a clause `<adj>` stands for a word of the clause's own mood and `<!adj>` for one of the
opposite mood. In a whole review `[+]` stands for a clause of the review's mood, `[-]` for
one of the opposite mood, `<!adj>` for a word of that. It knows no word of opinion.
"""

#: Says it straight.
PLAIN = (
    "<it> was <int> <adj>",
    "<it> is <int> <adj>",
    "<it> seemed <int> <adj> to me",
    "I found <it> <int> <adj>",
    "I <verbed> <it>",
    "I <verb> <it>",
    "we all <verbed> <it>",
    "I have to say that I <int> <verb> <it>",
    "<it> was <noun>",
    "<it> is <noun> from start to end",
    "<it> <does>",
    "<it> turned out to be <adj>",
    "<it> looked <adj> and was <adj>",
    "what a <adj> <thing>",
    "this is one of the <adj> ones",
    "I keep telling people how <adj> <it> is",
    "I was struck by how <adj> <it> was",
    "<it> could be called <adj>",
    "<people> called <it> <adj>, and I agree",
    "<people> says that <it> is <adj>, and that is true",
    "<int> <adj>",
)
#: Denies the opposite, near the word or far from it.
DENIED = (
    "<it> was not <int> <!adj>",
    "<it> was not <!adj> at all",
    "<it> isn't <!adj>",
    "<it> wasn't <!adj>",
    "<it> is never <!adj>",
    "I would not call <it> <!adj>",
    "I don't <!verb> <it>",
    "I didn't <!verb> <it>",
    "I did not <!verb> <it> one bit",
    "nobody at our table <!verbed> <it>",
    "nobody could say that <it> was <!adj>",
    "I cannot say that I <!verbed> <it>",
    "there was nothing <!adj> about <it>",
    "<it> was anything but <!adj>",
    "<it> was far from <!adj>",
    "<it> was hardly <!noun>",
    "not for one minute was <it> <!adj>",
    "only a fool would call <it> <!adj>",
    "do not believe those who tell you that <it> is <!adj>",
    "I fail to see what should be <!adj> about <it>",
    "it is not true that <it> was <!adj>",
    "<people> called <it> <!adj>, and I disagree",
    "<people> says that <it> is <!adj>, and that is wrong",
    "no one should think that <it> is <!adj>",
)
#: Has a "not" that denies nothing, or two that undo each other.
UNDENIED = (
    "<it> was not only <adj> but also <adj>",
    "never have I seen such a <adj> <thing>",
    "no doubt <it> was <adj>",
    "I did not expect <it> to be so <adj>",
    "nothing is as <adj> as <it>",
    "I could not stop thinking how <adj> <it> was",
    "nobody can deny that <it> is <adj>",
    "I never knew that a <thing> could be so <adj>",
    "nobody could say that <it> was not <adj>",
    "it is not true that <it> was not <adj>",
    "I have never met anyone who did not <verb> <it>",
    "I don't know anyone who doesn't find <it> <adj>",
)
CLAUSES = (PLAIN, DENIED, UNDENIED)

#: Two clauses that agree.
AGREEING = (
    "[+], and [+].",
    "[+]. [+].",
    "[+], because [+].",
    "[+], and to top it all [+].",
    "[+]; besides, [+].",
)
#: Two clauses of which one has the last word.
OPPOSED = (
    "[-], but [+].",
    "[-]. But [+].",
    "[-], and yet [+].",
    "[-]; still, [+].",
    "[-] at first, but in the end [+].",
    "[-]. That hardly matters, because [+].",
    "although [-], [+].",
    "even though [-], [+].",
    "while [-], [+].",
    "[+], although [-].",
    "[+], even if [-].",
    "[+], even though [-].",
    "[+], despite the fact that [-].",
    "granted, [-]. Never mind, [+].",
    "I expected to <!verb> <it>, but [+].",
    "I thought I would <!verb> <it>. Then I tried: [+].",
    "I feared or hoped for <!noun>, but [+].",
    "we were told that [-]. In fact [+].",
    "<people> thinks that [-]. I say that [+].",
    "people say that [-]. I cannot agree, [+].",
    "if you think that [-], you are wrong.",
    "I cannot believe that some say that [-].",
    "the last <thing> was <!adj>, but this one [one].",
    "unlike the old <thing>, which was <!adj>, this one [one].",
    "this one [one], while the one before was <!adj>.",
    "compared with the <!adj> <thing> next door, this one [one].",
)
#: How "this one" goes on.
ONES = (
    "is <adj>",
    "was <int> <adj>",
    "<does>",
    "is not <!adj>",
    "is anything but <!adj>",
    "was not <!adj> at all",
    "is <noun>",
)
