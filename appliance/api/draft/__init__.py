"""`POST /mpic/draft-00` of draft-westerbaan-alldispatch-mpic. All that knows its names is in here."""
