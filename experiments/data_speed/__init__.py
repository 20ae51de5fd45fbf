"""Does training ever wait for its data?"""
