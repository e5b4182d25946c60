"""The pages "Bandwidth models" of the Airflow UI."""
