"""The plots of the little stories: which sentences follow each other.

It knows nobody by name. ``{field}`` is filled from the story's cast and stays the same
through a story; ``<slot>`` is drawn anew for each sentence. Every step has frames
enough that a sentence can be drawn again until it belongs to the wanted part of the corpus.
"""

#: One step of a story: frames of a single sentence, of which one is said.
Step = tuple[str, ...]

OPENING: Step = (
    "Once upon a time there was {a_hero} who lived in <home> near {town}.",
    "Once upon a time {a_hero} lived in <home> and <habit>.",
    "There was once {a_hero} who <habit>.",
    "Long ago, in the village of {town}, there lived {a_hero} who <habit>.",
    "One <weather> <part>, {the_hero} came out of <home> and saw that <sky>.",
    "One <weather> <part>, {the_hero} walked through {town} while <sky>.",
    "One <weather> <part> in {town}, {the_hero} sat in the kitchen and ate <food>.",
    "It was a <weather> <part> in <season>, and {the_hero} felt <gloomy>.",
    "On the first day of <season>, {the_hero} walked through {town} and felt <glad>.",
    "Every <part>, {the_hero} ate <food> and looked out at {town}.",
    "When <season> came to {town}, {the_hero} was <glad> <while>.",
    "In {town}, where <sky>, there lived {a_hero} who <habit>.",
    "Far away, in a town called {town}, {a_hero} lived in <home>.",
    "{The_hero} lived in <home> near {town} and <habit>.",
    "{The_hero} was <gloomy>, because it was <season> and <sky>.",
    "{The_hero} <habit>, and everyone in {town} liked {him} for it.",
    "{The_hero} woke up <when> and saw that <sky>.",
    "Nobody in {town} was as <glad> as {a_hero} who <habit>.",
)

LOST: tuple[Step, ...] = (
    (
        "{Hero} had {a_thing}, and {he} looked after it <manner> because it was <likeness>.",
        "More than anything {hero} loved {his} {thing}, which was <likeness> and lay <spot>.",
        "{His} best friend had once given {him} {a_thing}, <likeness>, and {he} kept it <spot>.",
    ),
    (
        "But <when> the {thing} was gone, and {hero} felt <gloomy>.",
        "But <when>, while <sky>, {he} saw that the {thing} was not there.",
        '"Where is my {thing}?" {he} asked <voice>, and {he} looked <spot>.',
    ),
    (
        "{He} looked <spot> and <spot>, but {he} found only <sight>.",
        "{He} searched <while>, and <people> helped {him} to look <spot>.",
        "{Hero} went to {place} <when> and searched <while>.",
    ),
    (
        "At {place} {he} met {a_friend}, who was <gloomy> and ate <food>.",
        "Near {place} sat {a_friend}, and beside {fhim} was <sight>.",
        "Then {a_friend} came from {place} <manner> and said that {fhe} had seen <sight>.",
    ),
    (
        '"I saw your {thing} at {far} <when>," said {friend} <voice>.',
        '"Come with me to {far}," said {friend} <voice>, "because I saw <sight> there."',
        '"I can take you to {far} if you give me <food>," said {friend} <voice>.',
    ),
    (
        "Together they walked to {far} <manner> while <sky>.",
        "{Friend} led {him} to {far}, and they looked <spot> <while>.",
        "So {hero} and {friend} took <tool> and went to {far} <manner>.",
    ),
    (
        "There, <spot>, lay the {thing}, and it was <likeness>.",
        "There was <sight>, and behind it {friend} found the {thing} <when>.",
        "{Hero} looked <spot> <manner>, and there was the {thing}.",
    ),
)

STORM: tuple[Step, ...] = (
    (
        "<when^> a storm came over {town}, and <sky>.",
        "Then a storm broke, and <people> ran home <manner>.",
        "But in <season> a great storm came, and it lasted <while>.",
    ),
    (
        "The wind broke everything at {place}, and <people> were <gloomy>.",
        "A tree fell down at {place}, and <people> looked at it <while>.",
        "<when^> {hero} heard what the storm had done at {place}, and {he} felt <gloomy>.",
    ),
    (
        "{Hero} took <tool> and <tool> and went to {place} <manner>.",
        '"We must mend it," said {hero} <voice>, and {he} went to fetch <tool>.',
        "{He} put on {his} coat <manner> and carried <tool> to {place}.",
    ),
    (
        "There sat {a_friend}, who was <gloomy> and wanted <food>.",
        "There {he} heard a small voice, and <spot> {he} found {a_friend}.",
        "{A_friend} had been waiting there <while>, because {fhe} was <gloomy> and <sky>.",
    ),
    (
        '"Do not be afraid," said {hero} <voice>, and {he} gave {friend} <food>.',
        "{Hero} wrapped {friend} in a coat <manner> and shared <food> with {fhim}.",
        '"I know where there is <tool>," said {friend} <voice>.',
    ),
    (
        "They worked <while>, and <people> brought <food>.",
        "{Friend} held <tool> <manner>, and {hero} worked <while>.",
        "<when^> <people> came too, and each of them brought <tool>.",
    ),
    (
        "<when^> the work was done, and <people> were <glad>.",
        "<when^> everything at {place} was mended, and <people> danced <while>.",
        "Now all was well at {place}, <sky>, and {friend} was <glad>.",
    ),
)

MAKING: tuple[Step, ...] = (
    (
        "{Hero} wanted to make {a_thing}, <likeness>, and to show it to <people>.",
        "<when^> {he} had an idea, and {he} began to make {a_thing} <manner>.",
        '"I will make {a_thing}," said {hero} <voice>, "and it will be <likeness>."',
    ),
    (
        "{He} worked <while> with <tool>, but the {thing} broke.",
        "{He} took <tool> and worked <manner>, but <when> the {thing} fell apart.",
        "But the {thing} broke <when>, and {hero} felt <gloomy>.",
    ),
    (
        "<people^> laughed <while>, and {hero} hid the {thing} <spot>.",
        "{He} sat down <spot> and was <gloomy> <while>.",
        "{Hero} left the {thing} <spot> and walked to {place} <manner>.",
    ),
    (
        "<when^> {he} met {a_friend}, who was <glad> and ate <food>.",
        "<when^> {a_friend} knocked at the door and asked for <food>.",
        "{A_friend} had watched {him} <while> and came closer <manner>.",
    ),
    (
        '"What you need is <tool>," said {friend} <voice>.',
        '"Let us try it again <when>," said {friend} <voice>.',
        '"First eat <food>," said {friend} <voice>, "and then we will work <while>."',
    ),
    (
        "{Friend} brought <tool>, and {hero} worked <while>.",
        "So they began again <when>, and {friend} held <tool> <manner>.",
        "They worked side by side <while> and ate <food>.",
    ),
    (
        "<when^> the {thing} was ready, and it was <likeness>.",
        "<people^> looked at the new {thing} <while> and were <glad>.",
        "{Hero} carried the {thing} to {place} <manner>, and <people> clapped.",
    ),
)

STRANGER: tuple[Step, ...] = (
    (
        "<when^>, while <sky>, somebody knocked at the door <manner>.",
        "<when^> {hero} heard a small voice <spot>, and <sky>.",
        "<when^> {he} saw <sight> at {place} and stopped <manner>.",
    ),
    (
        "It was {a_friend}, who was <gloomy> and had walked <while>.",
        "There stood {a_friend}, and {fhe} asked <voice> for <food>.",
        "{A_friend} looked at {him} <manner> and said that {fhe} had eaten nothing <while>.",
    ),
    (
        '"Come in and have <food>," said {hero} <voice>.',
        "{Hero} had only <food>, but {he} shared it with {friend} <manner>.",
        "{He} gave {friend} <food> and a place to sleep <spot>.",
    ),
    (
        "They talked <while>, and outside <sky>.",
        "{Friend} ate <manner> and told {him} about <sight> at {far}.",
        "{Friend} stayed <while>, and {hero} was <glad>.",
    ),
    (
        "<when^> {friend} was gone, but <spot> lay {a_thing}.",
        '"I must go <when>," said {friend} <voice>, and {fhe} gave {him} {a_thing}.',
        "<when^> {friend} gave {him} {a_thing}, and it was <likeness>.",
    ),
    (
        "{He} took the {thing} to {place} <manner> and showed it to <people>.",
        "{Hero} kept the {thing} <spot> and looked at it <manner> every <part>.",
        "{Hero} went to {place} with the {thing} <when>, and there <people> were <glad>.",
    ),
    (
        "In <season> they met at {far}, and {friend} brought <food>.",
        "<when^> they met again at {far}, and {friend} was <glad>.",
        "{Hero} waited <while>, and <when> {friend} came back with <food>.",
    ),
)

SECRET: tuple[Step, ...] = (
    (
        "<when^> {hero} saw <sight> at {place} and felt <gloomy>.",
        "<people^> said that there was <sight> at {place}, and they were <gloomy>.",
        "<when^> a strange sound came from {place}, and <people> were <gloomy>.",
    ),
    (
        '"I will find out what it is," said {hero} <voice>, and {he} took <tool>.',
        "{He} packed <food> and <tool> and left <when>.",
        "{Hero} could not sleep, so {he} went to {place} <manner> while <sky>.",
    ),
    (
        "At {place} {he} waited <while> and ate <food>.",
        "{He} hid <spot> <while>, and <sky>.",
        "First {he} found <sight>, and then {he} saw <sight> <spot>.",
    ),
    (
        "Then {a_friend} came out <manner>, and {fhe} carried {a_thing}, <likeness>.",
        "<when^> {he} saw {a_friend} with {a_thing}, <likeness>.",
        "{A_friend} sat <spot> and played with {a_thing} <while>.",
    ),
    (
        '"Why are you here?" asked {hero} <voice>, and {he} offered {friend} <food>.',
        '"I am looking after this {thing}," said {friend} <voice>, "and I am <gloomy>."',
        "{Friend} told {him} <voice> that {fhe} had been alone <while>.",
    ),
    (
        '"Then come to {town} with me," said {hero} <voice>, "and have <food>."',
        "{Hero} promised <voice> to come back <when> with <food>.",
        "{He} sat down beside {friend} <manner>, and they watched the {thing} <while>.",
    ),
    (
        "<when^> <people> heard the story and brought <food> to {place}.",
        "From then on {friend} lived with {hero} and slept <spot>, where {fhe} was <glad>.",
        "So the secret of {place} was only {a_thing}, <likeness>, and <people> laughed <while>.",
    ),
)

PLOTS = (LOST, STORM, MAKING, STRANGER, SECRET)

ENDING: tuple[Step, ...] = (
    (
        "{Hero} thanked {friend} <voice> and gave {fhim} <food>.",
        '"Thank you, {friend}," said {hero} <voice>, and both of them were <glad>.',
        "{Friend} laughed <voice>, and {hero} felt <glad> again.",
        "That <part> they sat at {place} and ate <food> while <sky>.",
    ),
    (
        "And {hero} and {friend} stayed friends and ate <food> together every <part>.",
        "Since that <part> {hero} has known that <lesson>, and {friend} knows it too.",
        "And when <sky>, people in {town} still tell each other that <lesson>.",
        "So {hero} learned in <season> that <lesson>.",
        "And year after year, {hero} told <people> that <lesson>.",
    ),
)
