"""Log runs to MLflow. The run folders remain the reference, and no failure of MLflow stops a training."""
