"""Log runs to MLflow. The run folders remain authoritative, and MLflow failures never stop a run."""
