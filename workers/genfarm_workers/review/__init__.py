"""What may not go into a model, and what may not come out: gates by registry key.

    [models.KEY.review]
    block_list = "blocked.txt"           # or ["a word", "two words", "stem*"]
    hook = "mypackage.rules:judge"       # own code, named here and never by a request
    safety_checker = true                # a diffusion pipeline's own; false leaves it out
    prompts = true                       # gates look at what goes in
    outputs = true                       # and at texts that come out
    [models.KEY.review.classifier]
    source = "zoo:sentiment"             # a key of the registry, or as a model's source
    labels = ["negative"]                # that are refused
    threshold = 0.8                      # from this score on

rules.py       the tables above
folding.py     one spelling for the many that look alike
blocklist.py   words and phrases, found however they are spelt
gates.py       block list and hook, in the worker process; imports no torch
censor.py      the classifier, in the engine process

A refused task ends as `content_filtered`, with the gate and the rule's hash and no word of it.
"""
