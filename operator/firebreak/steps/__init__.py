"""One module for each step of a playbook: facts in, Changes or artifact requests out. Pure.

The engine carries out and verifies; repeating a step is harmless because the same facts give the same Changes.
"""
