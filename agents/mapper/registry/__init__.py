"""Values that a schema registry's serializers wrote: which schema they have, and what they contain."""
