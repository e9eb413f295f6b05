print("recognite-benchmark")
