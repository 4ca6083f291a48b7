"""What travels: frozen values and text. Nothing here acts; everything here can be stored, compared and printed."""
