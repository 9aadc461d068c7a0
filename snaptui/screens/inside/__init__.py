"""What is inside an opened snapshot: the tabs of its screen."""
