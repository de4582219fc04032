"""The tests mirror the rooms; `attacks.py` is what Byzantine participants send."""
