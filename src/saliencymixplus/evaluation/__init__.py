"""What a trained model is worth: ``suite.evaluate`` measures a run, ``compare.compare`` many.

One file per subject; import the one you need (``compare`` and ``statistics`` do without torch).
"""
