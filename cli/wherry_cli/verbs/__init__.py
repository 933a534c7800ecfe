"""One module a verb; each has ``build()``, which makes its command. Imported only when that verb is run or explained."""
