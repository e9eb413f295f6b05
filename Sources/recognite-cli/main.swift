print("recognite")
