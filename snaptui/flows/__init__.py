"""What the app does when a screen asks for it: dialogs, children and notices, one after the other."""
