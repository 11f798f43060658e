"""When does a truer label help? Object size × amount of data × where the box goes × its label."""
