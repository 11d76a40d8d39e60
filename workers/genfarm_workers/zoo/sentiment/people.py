"""Sentences as people write them, with their mood: what the grammar's own figures cannot say.

They are not part of any training, and no word of it was taken from them; but it was seen which
of them an earlier model missed.
"""

#: Each with whether it praises.
SENTENCES: tuple[tuple[str, bool], ...] = (
    ("I love this product", True),
    ("This is terrible", False),
    ("Best purchase I have made all year.", True),
    ("Complete waste of money, avoid it.", False),
    ("I would buy it again without thinking twice.", True),
    ("It stopped charging after three days and nobody answered my mails.", False),
    ("The food was cold and the waiter was rude.", False),
    ("Great value, and it arrived a day early.", True),
    ("Not what I had hoped for.", False),
    ("My kids can't get enough of it!", True),
    ("I want my money back.", False),
    ("The room smelled of smoke and the sheets were dirty.", False),
    ("Five stars, we will be back soon.", True),
    ("It's not bad, actually.", True),
    ("I really wanted to like this film, but it bored me to tears.", False),
    ("A slow start, but the second half is brilliant.", True),
    ("The pictures look great; sadly the sound is awful and it ruins everything.", False),
    ("Nothing to complain about.", True),
    ("I can't recommend this to anyone.", False),
    ("I can't recommend this highly enough.", True),
    ("The plot makes no sense and the jokes fall flat.", False),
    ("She sings beautifully and the band is tight.", True),
    ("Cheap, but it does the job perfectly.", True),
    ("Looks expensive, feels like rubbish.", False),
    ("Horrible service. The manager laughed at us.", False),
    ("Very happy with this little lamp.", True),
    ("Don't waste your time.", False),
    ("A wonderful evening with wonderful people.", True),
    ("It was fine, though I have certainly had much better.", False),
    ("I was sceptical, but now I use it every day and I'm delighted.", True),
    ("This app crashes all the time.", False),
    ("The chef clearly loves what he does, and you can taste it.", True),
    ("I expected a disaster and got the best meal of my life.", True),
    ("Everybody raves about it; I fell asleep.", False),
    ("The worst hotel I have ever stayed in.", False),
    ("Absolutely gorgeous, and the colour is even nicer than in the photo.", True),
    ("You get what you pay for: junk.", False),
    ("It never fails to make me laugh.", True),
    ("The instructions are useless, and two screws were missing.", False),
    ("I've read it three times and it gets better every time.", True),
)
