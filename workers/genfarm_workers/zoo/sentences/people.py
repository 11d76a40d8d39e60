"""Pairs of sentences of one meaning as people write them, which the grammar cannot say.

They were written before the model was, are not part of any training, and nothing was chosen
by them.
"""

PAIRS: tuple[tuple[str, str], ...] = (
    ("My brother purchased an old automobile.", "A used car was bought by my brother."),
    ("The kid ran after the hound in the forest.", "A child was chasing a dog in the woods."),
    ("A physician saved the sailor's life.", "The seaman was rescued by a doctor."),
    ("The thief took my watch at the station.", "I was robbed of my watch at the railway."),
    ("Our teacher gave us lessons at noon.", "At midday we were taught by our teacher."),
    ("She phoned the police late at night.", "The officer got a call from her after midnight."),
    ("He lent me his bike for the summer.", "I borrowed a bicycle from him in July."),
    ("The chef sent a cake to the mayor.", "The mayor received something sweet from the cook."),
    ("The king invited the singer to the castle.", "The singer was the guest of the ruler."),
    ("Everybody praised the painter's work.", "People spoke well of the artist."),
    ("The farmer sold his house by the sea.", "Somebody bought the home on the beach."),
    ("The attorney blamed the driver.", "It was the chauffeur's fault, said the lawyer."),
    ("The nurse gave him a hand in the clinic.", "He was helped at the hospital."),
    ("The boss paid the gardener yesterday.", "Yesterday the gardener got money from his manager."),
    ("The pupil lost the game of chess.", "The student was beaten at chess."),
    ("A soldier walked behind the judge.", "The judge was followed by a trooper."),
    ("He wrote a letter to the author.", "The writer got a note from him."),
    ("They showed us a map of the harbour.", "We saw a chart of the port."),
    ("Snow fell on the hills.", "It was winter in the mountains."),
    ("My neighbour promised me a ring.", "The woman next door swore to bring me jewellery."),
)
