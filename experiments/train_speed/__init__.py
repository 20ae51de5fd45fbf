"""How much faster does the light network train?"""
