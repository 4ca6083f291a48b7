"""What travels: frozen values and text. Nothing here acts; everything here can be stored, compared and printed.

| Module | |
|---|---|
| `envelope`, `outcome`, `timeline` | a message but for its content; how a try ended; what happened to it |
| `compact` | JSON as these are kept |
| `trace`, `header`, `submission` | our Received field; what must be known of a header; what a submission lacks |
| `structure`, `mime` | the entities of a message, found as it passes; what their headers say |
| `sevenbit`, `edits` | content made fit for a hop that takes less; stretches that are replaced meanwhile |
| `report`, `explanation`, `statusfields`, `returned` | notices: whole, for people, for programs, what is given back |
| `lines`, `printable` | text from outside made fit for our messages; made harmless, for people |
"""
