"""What is seen of exports, targets, Jobs and Pods, and what that means. Pure."""
