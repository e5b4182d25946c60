"""What joins bwpredict to Airflow: how a step runs as a task, and who hears of a failed run."""
