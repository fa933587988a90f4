"""What Gadgetron's external gadgets need: its messages, its connections, chains cut into nodes."""
