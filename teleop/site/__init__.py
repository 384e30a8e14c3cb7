"""What the processes of one site share to talk with their governor."""
