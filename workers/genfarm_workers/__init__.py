"""The answering side: Celery workers that hold models and run batches."""
