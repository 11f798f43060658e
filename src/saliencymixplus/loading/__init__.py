"""Turn prepared arrays into batches on the device."""
