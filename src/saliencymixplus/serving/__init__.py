"""Any image to class names: used by ``predict``, and copied into every MLflow model."""
