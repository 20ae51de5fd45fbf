"""How many parameters does the paper's network have?"""
