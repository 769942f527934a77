"""Acting after training: primitives and hierarchies from files, and primitives as the actions of another library's agent."""
