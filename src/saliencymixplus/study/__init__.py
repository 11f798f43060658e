"""When does a truer label help? Object size × amount of data × place of the box × label."""
