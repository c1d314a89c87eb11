"""The text that commands print for people: layout and wording, no figures of their own."""
