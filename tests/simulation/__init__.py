"""The whole pipeline in virtual time, where anything may go wrong at every effect."""
