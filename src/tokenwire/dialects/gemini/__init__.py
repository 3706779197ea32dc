"""Google's Gemini: generateContent and streamGenerateContent, of the Gemini API and of Vertex."""
