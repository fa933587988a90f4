"""The parts of a replay: what is sent when, what is damaged, what came of it, who watches."""
