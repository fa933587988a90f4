"""The organs of the chest, as smooth solids that follow a pose of the patient."""
