"""The words of the facts: who, what, where and when, each with several ways to say it.

It knows no sentence. Ways to say a thing stand side by side, separated by "/".
"""


def _ways(*lines: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(way.strip() for way in line.split("/")) for line in lines)


#: Who does something, or has it done to.
PEOPLE = _ways(
    "the doctor/the physician",
    "the teacher/the schoolmaster",
    "the lawyer/the attorney",
    "the policeman/the officer",
    "the thief/the robber",
    "the sailor/the seaman",
    "the boss/the manager",
    "the child/the kid",
    "the farmer/the man from the farm",
    "the baker/the man who bakes the bread",
    "the writer/the author",
    "the painter/the artist",
    "the singer/the vocalist",
    "the soldier/the trooper",
    "the king/the ruler",
    "the student/the pupil",
    "the nurse/the woman from the ward",
    "the pilot/the man who flies the plane",
    "the neighbour/the woman next door",
    "the mayor/the head of the town",
    "the cook/the chef",
    "the driver/the chauffeur",
    "the judge/the magistrate",
    "the gardener/the man who keeps the garden",
)

#: What passes from one to the other.
THINGS = _ways(
    "a car/an automobile",
    "a house/a home",
    "a book/a volume",
    "a bicycle/a bike",
    "a boat/a vessel",
    "a picture/a painting",
    "a letter/a note",
    "a ring/a piece of jewellery",
    "a coat/an overcoat",
    "a dog/a hound",
    "a bottle of wine/some wine",
    "a watch/a timepiece",
    "a phone/a telephone",
    "a cake/something sweet",
    "a map/a chart",
    "a lamp/a light",
    "a hat/a cap",
    "a piano/a grand piano",
)

PLACES = _ways(
    "in the town/in the city",
    "at the station/by the railway",
    "at school/in the classroom",
    "on the beach/by the sea",
    "in the woods/in the forest",
    "at the market/at the fair",
    "in the church/in the chapel",
    "in the hospital/in the clinic",
    "at the office/at work",
    "in the mountains/up in the hills",
    "on the farm/out in the fields",
    "at the harbour/in the port",
)

TIMES = _ways(
    "in the morning/at dawn",
    "in the evening/at dusk",
    "at night/after midnight",
    "at noon/around midday",
    "in winter/when snow lay",
    "in summer/in the hot months",
    "last week/some days ago",
    "yesterday/the day before today",
    "on a holiday/on a day off",
    "last year/twelve months ago",
)

#: What one does to another. Each way is a frame of {a}, {b}: the same fact said from either side.
DEEDS = _ways(
    "{a} chased {b}/{b} was chased by {a}/{a} ran after {b}/{b} fled from {a}",
    "{a} helped {b}/{b} was helped by {a}/{a} gave {b} a hand/{b} got help from {a}",
    "{a} hit {b}/{b} was hit by {a}/{a} struck {b}/{b} took a blow from {a}",
    "{a} taught {b}/{b} was taught by {a}/{a} gave {b} lessons/{b} learned from {a}",
    "{a} paid {b}/{b} was paid by {a}/{a} gave {b} money/{b} got money from {a}",
    "{a} called {b}/{b} was called by {a}/{a} rang {b}/{b} had a call from {a}",
    "{a} saved {b}/{b} was saved by {a}/{a} rescued {b}/{b} owes {a} being alive",
    "{a} followed {b}/{b} was followed by {a}/{a} walked behind {b}/{b} walked ahead of {a}",
    "{a} praised {b}/{b} was praised by {a}/{a} spoke well of {b}/{b} got praise from {a}",
    "{a} blamed {b}/{b} was blamed by {a}/{a} put the fault on {b}/{b} took the blame from {a}",
    "{a} invited {b}/{b} was invited by {a}/{a} asked {b} to come/{b} was the guest of {a}",
    "{a} beat {b} at chess/{b} lost to {a} at chess/{a} won against {b} at chess",
)
#: What one does to another with a thing {t}.
TRADES = _ways(
    "{a} sold {b} {t}/{a} sold {t} to {b}/{b} bought {t} from {a}/{t} was sold to {b} by {a}/"
    "{b} purchased {t} from {a}",
    "{a} lent {b} {t}/{a} lent {t} to {b}/{b} borrowed {t} from {a}/{t} was lent to {b} by {a}",
    "{a} gave {b} {t}/{a} gave {t} to {b}/{b} got {t} from {a}/{b} was given {t} by {a}/"
    "{a} made {b} a gift of {t}",
    "{a} stole {t} from {b}/{b} had {t} stolen by {a}/{b} was robbed of {t} by {a}",
    "{a} showed {b} {t}/{a} showed {t} to {b}/{b} was shown {t} by {a}/{a} let {b} see {t}",
    "{a} sent {b} {t}/{a} sent {t} to {b}/{b} received {t} from {a}/{a} mailed {t} to {b}",
    "{a} promised {b} {t}/{a} promised {t} to {b}/{b} was promised {t} by {a}/"
    "{a} swore to bring {b} {t}",
)
