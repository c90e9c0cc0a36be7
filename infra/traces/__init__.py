"""Looking for what should be gone: templates and pictures in files, databases and a process's memory."""
