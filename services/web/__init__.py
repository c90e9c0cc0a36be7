"""Pages for the traveller, the gate, the officer and the auditor."""
