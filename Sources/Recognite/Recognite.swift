// Recognite
