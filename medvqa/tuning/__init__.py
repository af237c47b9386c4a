"""Tuning any served checkpoint with LoRA on a file of cases.

`adaptation.tune_adapter` goes the whole way: `division` splits the cases by group, `examples` makes batches
of them, `lora` loads the base and puts the adapter on it, `learning` optimises it step by step, `state` keeps
what a stopped run needs to go on, and `record` and `card` write down what was done.
"""
