"""Lists of jobs, done in this process, in processes of this machine or by actors of a Ray cluster."""
