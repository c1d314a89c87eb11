"""Faust and aiokafka, subclassed: the app, the transport of whole fetches, the table store."""
