"""What is asked of a model, in one vocabulary: how a request in one dialect becomes one in another.

``vocabulary`` says what a request can hold, ``fit`` what a dialect can hold of it. Each dialect that answers are asked
for in has a file ``prompt`` of its own, with a record of both directions.
"""
