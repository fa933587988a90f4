"""What can be set in a simulation, section by section; `chistream_simulator.case` unites them."""
