"""The words of the reviews: what is reviewed, what is thought of it, and what is beside the point.

It knows no sentence. Of each pair of word lists the first praises and the second blames.
"""


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


#: Opinions in the order praise, blame, by the slot that they fill.
OPINIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "adj": (
        _words(
            "good great excellent wonderful lovely delightful superb brilliant charming "
            "fantastic amazing pleasant perfect beautiful splendid marvellous terrific "
            "outstanding impressive solid reliable clever elegant fresh comfortable enjoyable "
            "gripping touching funny memorable satisfying generous friendly careful smooth "
            "sturdy tasty delicious crisp rich warm bright useful handy practical worthwhile "
            "sensible inspiring refreshing nice fine awesome stunning remarkable first-rate "
            "likeable convincing thoughtful adorable magnificent incredible fun"
        ),
        _words(
            "bad terrible awful horrible dreadful dull boring poor disappointing weak bland "
            "stale ugly cheap flimsy clumsy useless worthless annoying tedious unpleasant nasty "
            "miserable mediocre lousy rude careless noisy shabby broken faulty greasy soggy "
            "cold tasteless confusing pointless predictable lifeless sloppy forgettable "
            "irritating uncomfortable overpriced disgusting painful pathetic appalling "
            "atrocious unreliable fragile tiresome silly slow second-rate unbearable wretched "
            "hopeless ridiculous gloomy frustrating unconvincing"
        ),
    ),
    "verb": (
        _words("love like enjoy adore admire recommend praise treasure appreciate"),
        _words("hate dislike detest despise regret loathe resent"),
    ),
    "verbed": (
        _words("loved liked enjoyed adored admired praised treasured appreciated"),
        _words("hated disliked detested despised regretted loathed resented"),
    ),
    "noun": (
        (
            "a joy",
            "a delight",
            "a pleasure",
            "a triumph",
            "a masterpiece",
            "a success",
            "a treat",
            "a bargain",
            "a gem",
            "a winner",
            "a wonder",
            "a treasure",
        ),
        (
            "a disappointment",
            "a disaster",
            "a failure",
            "a mess",
            "a nightmare",
            "a shame",
            "a let-down",
            "a bore",
            "a rip-off",
            "a mistake",
            "a waste of money",
            "a waste of time",
        ),
    ),
    "does": (
        (
            "works well",
            "does its job",
            "made my day",
            "exceeded my hopes",
            "made me smile",
            "is worth every penny",
            "won me over",
            "won my heart",
            "is a pleasure to use",
            "deserves five stars",
        ),
        (
            "fell apart",
            "broke after a week",
            "let me down",
            "ruined my day",
            "put me to sleep",
            "made me angry",
            "is not worth the money",
            "stopped working",
            "got on my nerves",
            "deserves no stars",
        ),
    ),
}

#: What is reviewed, and what of it, by the field of life.
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "product": (
        _words(
            "phone kettle lamp chair jacket laptop camera toaster blanket backpack watch "
            "keyboard bicycle vacuum mattress umbrella tent printer product gadget"
        ),
        _words("battery screen colour lid handle sound fabric zip manual packaging design"),
    ),
    "film": (
        _words("film movie play book novel series show concert album documentary game"),
        _words("acting plot ending music dialogue cast script photography pace opening"),
    ),
    "food": (
        _words(
            "soup bread cake coffee pizza salad curry sandwich breakfast dinner pasta stew "
            "dessert meal restaurant café"
        ),
        _words("service sauce portion seasoning crust menu waiter table wine price"),
    ),
    "service": (
        _words("hotel course trip tour hostel workshop ferry spa museum service app"),
        _words("room staff bed view guide breakfast location shower booking teacher"),
    ),
}

#: Ways to name what is reviewed. "this" and "it" alone are said without a noun.
NAMED = ("the {noun}", "the {noun}", "this {noun}", "their {noun}", "the whole {noun}")
BARE = ("it", "this", "the experience", "everything")

INTENSIFIERS = _words(
    "very really rather quite so truly pretty fairly absolutely simply completely surprisingly"
)

PEOPLE = (
    "my sister",
    "my brother",
    "a friend",
    "my neighbour",
    "the critic",
    "my boss",
    "everyone else",
    "the man in the shop",
    "my mother",
)

#: Sentences that say nothing of what is reviewed, half of them without any feeling.
ASIDES = (
    "We went there on a <day>.",
    "I bought it on a <day>.",
    "It arrived on a <day>.",
    "It came in a box.",
    "I have had it for two months.",
    "I went with <people>.",
    "<people> came along.",
    "I paid with my card.",
    "It is about the size of a shoe.",
    "I heard of it on the radio.",
    "This is my first review.",
    "The weather was <~adj> that day.",
    "I had had a <~adj> day at work.",
    "The traffic on the way was <~adj>.",
    "<people> was in a <~adj> mood.",
    "Outside it was a <~adj> evening.",
    "I usually <~verb> mornings.",
    "Some people <~verb> the colour green.",
)

DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
