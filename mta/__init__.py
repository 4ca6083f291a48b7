"""mta, a mail transfer agent. The way in: `service.py` wires the parts, `interfaces.py` names their seams."""
