"""Reports on an experiment's runs, model cards, and previews of mixed samples."""
