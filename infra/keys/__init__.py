"""Keys and what they seal; kept outside the application database."""
